"""A trial on another machine: the request for it, its news, and the executor that acts on them."""
