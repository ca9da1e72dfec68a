"""An app for deployment tests: its updates are a function of name and round alone."""
