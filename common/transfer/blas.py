"""Threads of linear algebra."""

from threadpoolctl import threadpool_limits


def single_threaded_blas() -> threadpool_limits:
    """One BLAS thread per caller: with several, a busy machine is nine times slower."""
    return threadpool_limits(1, "blas")
