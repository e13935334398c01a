"""Speed and memory of the hot paths, one file each, against a baseline in the same run.

Every file has ``run(size)``, which checks that what is compared gives equal results and returns a `Report`,
and ``main(argv)``, which prints it: ``python -m benchmarks.grounding --size tiny``. ``python -m benchmarks``
runs all, or those that it is told, and makes one table of them.
"""
