"""A runner whose import never ends, as one that waits for a lock or a network."""

import time

time.sleep(600)
