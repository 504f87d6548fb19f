"""Reproduction of Krizhevsky, Sutskever and Hinton, NIPS 2012, as one workflow."""
