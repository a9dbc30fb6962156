"""A deployment under mischief, and a judge who knows what truly happened: see docs/resilience.md.

python -m chaos            some minutes of it; `make chaos`
python -m chaos.soak       hours of steady load, with the memory of each process
python -m chaos.rolling    restarts under load, one process after the other
"""
