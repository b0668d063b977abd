"""A bench in an object store: written and read by any URL that `fsspec` knows.

- `client`: the objects of a folder, and what goes wrong with a store told in one line.
- `writer`: the right to change a bench there; `lock` keeps it to one build at a time.
- `place`: a task's folder there as a worker sees it; `scratch` is the room on the worker's machine.
- `reading`: a bench there, laid out in the cache and opened like one on disk.
"""
