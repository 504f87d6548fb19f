"""One thread for the small networks of the tests: several wait for each other longer than they compute."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when PyTorch is imported
