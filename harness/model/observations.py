"""Observations of a trial outside of its timed windows: its training, and the speed of the machine."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from harness.model.frozen import Frozen, is_none

Share = Annotated[float, Field(ge=0, le=1)]


class Observed(Frozen):
    """What a training did, observed outside of its timed windows.

    Learning rates are those of the first and the last optimizer step, `learning_rate_sum` is the sum of all
    steps', None in reports written before it was kept. `dropped_share` is the share that
    dropout modules dropped of `dropout_elements` in the first forward pass and `dropout_rate` the mean of
    their rates, both None where no module drops or the model is compiled; attention's dropout has no module
    that is called. `parameter_change` is the norm of the change of all parameters that train over their norm
    before, from at most 4,096 elements of each tensor; `unmoved` names those tensors of which none of these
    changed, and `moved_frozen` tensors that an adapter freezes and that changed. `training_mode` tells for
    each epoch whether every module was in training mode in its first forward pass.
    """

    optimizer_steps: Annotated[int, Field(ge=0)]
    first_learning_rate: float | None
    last_learning_rate: float | None
    learning_rate_sum: Annotated[float | None, Field(exclude_if=is_none)] = None
    dropped_share: Share | None
    dropout_rate: Share | None
    dropout_elements: Annotated[int, Field(ge=0)]
    parameter_change: Annotated[float, Field(ge=0)]
    unmoved: tuple[str, ...]
    training_mode: tuple[bool, ...]
    moved_frozen: Annotated[tuple[str, ...], Field(exclude_if=lambda names: not names)] = ()

    @model_validator(mode="after")
    def _shares_are_of_elements(self) -> Self:
        if self.dropped_share is not None and not self.dropout_elements:
            raise ValueError("dropped_share without dropout_elements")
        return self


class Apart(Frozen):
    """How a trial was measured whose speed and quality come from separate processes.

    Times, rates and counts of tokens are those of `steps` optimizer steps, timed in a process of their own
    while no other trial ran on the device. Scores, losses, predictions and peaks of memory are those of a
    whole training, with `threads` CPU threads, while other trials could run: `jobs` at once on the
    device. `trained` is the id of another trial, of the same seed, whose training that was: both compute the
    same function on the same batches. Then the peaks of memory are those of the window.
    """

    steps: Annotated[int, Field(ge=1)]
    jobs: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    trained: Annotated[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None, Field(exclude_if=is_none)] = (
        None
    )


Rate = Annotated[float, Field(gt=0)]


class DeviceState(Frozen):
    """The state of an NVIDIA device at one moment, from NVML; None is a value that the device does not give.

    `slowdowns` names what lowered the clocks at that moment, by NVML's reasons (`sw_power_cap`,
    `hw_thermal_slowdown`, ...), without those of an idle device and of clocks that a user set. `limited_s`
    are the seconds since the driver was loaded in which the limit of power, or of temperature, lowered them:
    only differences count. `other_processes` counts the other processes that compute on the device; None
    where NVML does not list this one, as inside of a container.
    """

    clock_mhz: Annotated[float, Field(ge=0)] | None = None
    memory_clock_mhz: Annotated[float, Field(ge=0)] | None = None
    temperature_c: float | None = None
    power_w: Annotated[float, Field(ge=0)] | None = None
    power_limit_w: Annotated[float, Field(ge=0)] | None = None
    slowdowns: tuple[str, ...] = ()
    limited_s: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    other_processes: Annotated[int, Field(ge=0)] | None = None


class ProbeReading(Frozen):
    """Speed of the machine at one moment: a fixed matrix product, a fixed copy, the one-minute load average.

    `copy_bytes_per_second` counts bytes read and bytes written. The load average is None where the system
    keeps none. `device` is the state of an NVIDIA device right after the product; None for other devices and
    without the extra `nvidia`.
    """

    matmul_flops_per_second: Rate
    copy_bytes_per_second: Rate
    load_average: Annotated[float, Field(ge=0)] | None = None
    device: Annotated[DeviceState | None, Field(exclude_if=is_none)] = None


class Probe(Frozen):
    """Readings taken right before and right after the timed steps of a trial, on its device and threads.

    `work` describes the product and the copy; only readings of the same work may be compared.
    """

    work: str
    before: ProbeReading
    after: ProbeReading
