"""How good an encoder is: metrics, TREC files, protocols."""
