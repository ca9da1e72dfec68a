"""A whole federation on one machine: SuperLink with TLS and SuperNode authentication, and its SuperNodes."""
