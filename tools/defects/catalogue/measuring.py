"""Defects of clocks, peaks, probes and counts of work, and of the learning rates between first and last."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, TRAINER, Defect

_OBSERVING: Final = "measuring/observing.py"
_COUNTERS: Final = "measuring/counters.py"
_PROBE: Final = "measuring/probe.py"
_STEPS: Final = "measuring/steps.py"
_ROOFLINE: Final = "measuring/trial_roofline.py"
_PEAKS: Final = "measuring/peak_rates.py"
_TOKENIZING: Final = "tokenizing/measure.py"
_PREDICTED: Final = (
    "            self.logits = predict(self._model, self.evaluation, batch_size, self._trial.precision)\n"
)

MEASURING: Final = (
    Defect(
        "the change of parameters halved",
        "measuring",
        _OBSERVING,
        "return math.sqrt(changes / norms)",
        "return 0.5 * math.sqrt(changes / norms)",
    ),
    Defect(
        "one module in training mode counts for all",
        "measuring",
        _OBSERVING,
        "self._modes.append(all(module.training",
        "self._modes.append(any(module.training",
    ),
    Defect(
        "frozen parameters that change are not noted",
        "measuring",
        _OBSERVING,
        "            if change:\n",
        "            if change and name not in self._frozen:\n",
    ),
    Defect(
        "no workers of the data loader",
        "measuring",
        TRAINER,
        "            num_workers=self.args.dataloader_num_workers,\n",
        "            num_workers=0,\n",
        ("trainer workers",),
    ),
    Defect(
        "steps timed by processor time",
        "measuring",
        "measuring/steps.py",
        "        return StepClock(time.perf_counter, lambda",
        "        return StepClock(time.process_time, lambda",
    ),
    Defect(
        "evaluation timed by processor time",
        "measuring",
        "measuring/phases.py",
        "now: Callable[[], float] = time.perf_counter",
        "now: Callable[[], float] = time.process_time",
    ),
    Defect(
        "a phase's time charged to the outermost",
        "measuring",
        "measuring/phases.py",
        "            phase = self._open[-1]\n",
        "            phase = self._open[0]\n",
    ),
    Defect(
        "evaluation timed without its passes",
        "measuring",
        "fitting.py",
        '        with self._clock.phase("evaluate"):\n'
        "            batch_size = self._trial.train.per_device_eval_batch_size\n"
        f"{_PREDICTED}",
        "        batch_size = self._trial.train.per_device_eval_batch_size\n"
        f"{_PREDICTED.removeprefix('    ')}"
        '        with self._clock.phase("evaluate"):\n',
    ),
    Defect(
        "the next step's time from the mark before the last",
        "measuring",
        "measuring/steps.py",
        "[between(*pair) for pair in itertools.pairwise(self._marks)]",
        "[between(*pair) for pair in zip([self._marks[0], *self._marks], self._marks[1:])]",
    ),
    Defect(
        "evaluation inside of the window of an epoch",
        "measuring",
        LOOP,
        "        training.meter.close_window()\n"
        "        if training.trial.world_size > 1:\n"
        "            ranks.check_agreement(self._flat)\n"
        "        training.on_epoch_end(epoch, self._record.end_epoch())\n",
        "        if training.trial.world_size > 1:\n"
        "            ranks.check_agreement(self._flat)\n"
        "        training.on_epoch_end(epoch, self._record.end_epoch())\n"
        "        training.meter.close_window()\n",
    ),
    Defect(
        "peak memory of the parent",
        "measuring",
        _COUNTERS,
        '    status = Path("/proc/self/status")\n',
        '    status = Path(f"/proc/{os.getppid()}/status")\n',
    ),
    Defect("memory at the end", "measuring", _COUNTERS, 'startswith("VmHWM")', 'startswith("VmRSS")'),
    Defect("virtual memory", "measuring", _COUNTERS, 'startswith("VmHWM")', 'startswith("VmPeak")'),
    Defect(
        "memory in kilobytes of 1,000",
        "measuring",
        _COUNTERS,
        "        return int(line.split()[1]) * 1024\n",
        "        return int(line.split()[1]) * 1000\n",
    ),
    Defect(
        "peaks before a pause forgotten",
        "measuring",
        _COUNTERS,
        "        found = zip(*self._earlier, peak_memory",
        "        found = zip(peak_memory",
    ),
    Defect(
        "memory of a pause counted",
        "measuring",
        _COUNTERS,
        "        finally:\n            reset_peak_memory(self._device)\n",
        "        finally:\n            pass\n",
    ),
    Defect(
        "energy of the first package",
        "measuring",
        _COUNTERS,
        "        for before, after, most in zip(self._last, now, self._ranges, strict=True):\n",
        "        for before, after, most in [*zip(self._last, now, self._ranges, strict=True)][:1]:\n",
    ),
    Defect(
        "energy lost where a counter starts again",
        "measuring",
        _COUNTERS,
        "after - before if after >= before else most - before + after\n",
        "max(after - before, 0)\n",
    ),
    Defect(
        "a probe's copy counted once",
        "measuring",
        _PROBE,
        "            copy_bytes_per_second=2.0 * copied / copy_s,\n",
        "            copy_bytes_per_second=copied / copy_s,\n",
    ),
    Defect(
        "a probe's multiply-add counted once",
        "measuring",
        _PROBE,
        "2.0 * size**3 / product_s",
        "1.0 * size**3 / product_s",
    ),
    Defect(
        "a probe's warm-up counted",
        "measuring",
        _PROBE,
        "        return (now - began) / calls\n",
        "        return (now - began) / (calls + 1)\n",
    ),
    Defect(
        "a peak's products counted forward alone",
        "measuring",
        _PEAKS,
        "        flops += [count * 2.0 * tokens * before * after] * 3\n",
        "        flops += [count * 2.0 * tokens * before * after]\n",
    ),
    Defect(
        "a square product counted as its elements",
        "measuring",
        _PEAKS,
        "    return 2.0 * size**3 / seconds\n",
        "    return 2.0 * size**2 / seconds\n",
    ),
    Defect(
        "tokenising timed with the collection before it",
        "measuring",
        _TOKENIZING,
        "        collect()\n        begin = now()\n",
        "        begin = now()\n        collect()\n",
        ("tokenizing run",),
    ),
    Defect(
        "passes of tokenising timed as a running mean",
        "measuring",
        _TOKENIZING,
        "        seconds.append(now() - begin)\n",
        "        seconds.append((now() - begin) / (len(seconds) + 1))\n",
        ("tokenizing run",),
    ),
    Defect(
        "every parameter of an adapted model trains",
        "measuring",
        "variants/adapters.py",
        "    trainable = model.num_parameters(only_trainable=True)\n",
        "    trainable = model.num_parameters()\n",
        ("loop lora",),
    ),
    Defect(
        "parameters without embeddings",
        "measuring",
        "checkpoints.py",
        "        parameters=model.num_parameters(),\n",
        "        parameters=model.num_parameters(exclude_embeddings=True),\n",
    ),
    Defect(
        "lengths of predictions sorted",
        "measuring",
        "evaluation.py",
        "        lengths=tuple(collator.split.lengths.tolist()),\n",
        "        lengths=tuple(sorted(collator.split.lengths.tolist())),\n",
    ),
    Defect(
        "warm-up of three steps at most",
        "measuring",
        LOOP,
        "    options = settings.lr_scheduler_kwargs\n",
        "    warmup = min(warmup, 3)\n    options = settings.lr_scheduler_kwargs\n",
        ("warmed run",),
    ),
    Defect(
        "energy of the last window alone",
        "measuring",
        _STEPS,
        "_added(self.joules, self._energy_since, self._energy())",
        "_added(0.0, self._energy_since, self._energy())",
    ),
    Defect(
        "energy of warm-up counted",
        "measuring",
        _STEPS,
        "        if len(self._batches) == self.warmup_steps:\n",
        "        if len(self._batches) == 1:\n",
    ),
    Defect(
        "energy of the window that ends warm-up alone",
        "measuring",
        _STEPS,
        "        if len(self._batches) >= self.warmup_steps:\n            self._open_energy()\n",
        "",
    ),
    Defect(
        "no reading of the machine after the last step",
        "measuring",
        _STEPS,
        "        if len(self._batches) >= self.steps:\n            self.at_edge()\n",
        "        if len(self._batches) > self.steps:\n            self.at_edge()\n",
    ),
    Defect(
        "the machine is read inside of the first window",
        "measuring",
        _STEPS,
        "        self._marks = [self._clock.mark()]\n        if len(self._batches) >= self.warmup_steps:\n",
        "        self._marks = [self._clock.mark()]\n"
        "        if not self._batches:\n"
        "            self.at_edge()\n"
        "        if len(self._batches) >= self.warmup_steps:\n",
    ),
    Defect(
        "the time between phases charged to the next one",
        "measuring",
        "measuring/phases.py",
        "now - self._since\n        self._since = now\n",
        "now - self._since\n            self._since = now\n",
    ),
    Defect(
        "a probe's readings turned round",
        "measuring",
        _PROBE,
        "        before, after = self._readings\n",
        "        after, before = self._readings\n",
    ),
    Defect(
        "one peak of square products for all precisions",
        "measuring",
        _ROOFLINE,
        'f"square {size} {bench.precision}"',
        'f"square {size}"',
    ),
    Defect(
        "the slower of two peaks kept",
        "measuring",
        "measuring/peaks.py",
        "before.per_second > found",
        "before.per_second < found",
    ),
    Defect(
        "the peak of another machine",
        "measuring",
        "measuring/peaks.py",
        "    return found if (found.fingerprint, found.work) == (fingerprint, work) else None\n",
        "    return found\n",
    ),
    Defect(
        "warm-up of a window timed",
        "measuring",
        "fitting.py",
        "[batches], len(chosen.warm_up)",
        "[batches], warm_up",
        ("loop window",),
    ),
    Defect(
        "the longest steps timed for all",
        "measuring",
        "batching.py",
        "    timed = tuple(steps[place] for place in sorted(_of_mean_work([_work(each) for each in steps], groups)))\n",
        "    timed = tuple(steps[place] for place in sorted(by_work[-count:]))\n",
        ("loop window",),
    ),
)
