"""What the farm costs and how fast it is, measured: ``make bench``, or ``python -m benchmarks``.

Each benchmark is a module with ``run(options) -> Report``; ``__main__`` has their names. All of
them stand on ``report``, ``options``, ``films`` (sources), ``farms`` (a farm to measure), ``usage``
(its processor time) and ``plot``. What belongs to one of them alone:

- ``against_ffmpeg``, ``against_ffmpeg_long``, ``against_renditions``: ``handwritten``
- ``against_shaka``: ``shaka``
- ``playable``: ``viewer``
- ``overhead``: ``overhead_farm``, ``part_costs``, ``latency``, ``latency_worker``, ``s3_counter``,
  ``slot_peaks``
- ``control_plane``: ``fleet``, ``slots``, ``stand_in``
- ``scale_out``: ``farm_model``, ``model_costs``, ``scale_films``, ``scale_measured``
- ``quality``: ``clips``, ``encodes``, ``fixed_ladder``, ``presets``, ``rate_quality``, ``vmaf``
"""
