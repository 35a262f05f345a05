"""Files of runs: reports, trials, plans, baselines and calibrations, written atomically and read strictly."""
