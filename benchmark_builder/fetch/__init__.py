"""Upstream's files, brought: what each source needs, from where, and how it comes into the folder of sources.

    items       what one item is: a Hub data set, a repository's archive, single files, or a person's errand
    places      `places.yaml`: everything that is no Hub data set, one reviewed entry each
    wanted      which items serve which tasks, out of the catalogue, the adapters' tables and `places`
    remote      downloads: resumed, repeated, checked
    archives    tar and zip, unpacked without leaving their folder
    hub         the Hub: lists of files, asked for once, and what is downloaded of them
    configs     configs of Hub data sets: which files are which split, and how they become Parquet
    store       the folder of sources: records of what was brought, and nothing unfinished in sight
    fetching    looks what there is to bring, then brings it

Nothing here runs upstream's code.
"""
