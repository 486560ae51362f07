"""One module for each type of request: what it takes, what it answers, what can be wrong, and how it is done.

`gsrt.backend.registry` finds them by their file's name; gsrt.backend.call says what such a module holds."""
