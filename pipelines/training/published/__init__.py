"""Published tables, reproduced under their own protocols: one module a table, its protocol in its docstring."""
