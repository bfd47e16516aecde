"""What scaling policies are worth, by simulation: ``make simulate``, or ``python -m simulation``.

A policy cannot be chosen by thought alone, nor on one machine: what counts are bursts, days and
films of ten hours on farms of thousands of workers that take minutes to start. So one pool is
simulated, event by event, with parts as the planner really makes them, and every policy is given
the same uploads. The one that ships is the one that wins, and a test says so.

- ``films``, ``traces``, ``uploads``: what arrives, when, and what it is predicted and found to cost
- ``pool``, ``shelf``, ``crew``: the event simulation; ``platforms``: what starts workers, how fast
- ``policies``: what is compared; ``clairvoyant``: the bounds, and one that knows all beforehand
- ``measures``, ``compare``: figures, and the one score by which a policy wins; ``sweep``: the
  parameters of the shipped one
- ``show``, ``picture``, ``__main__``: tables, JSON and PNG
"""
