"""What a trial and a run leave behind: the models, the table of metrics, and the store that writes them."""
