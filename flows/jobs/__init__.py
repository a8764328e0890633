"""Jobs over any number of notes, cut into shards, done by worker processes, and safe against kill -9.

A job's folder (`--out`) holds

    sections/part-00000.parquet …   each table is a folder of parquet files, one per shard
    composed_notes/                 such a table of NOTES_SCHEMA, if the reader composed the text of notes (FHIR
                                    compositions): offsets point into this text, which no input file holds
    ledger.sqlite                   the record of what is done: shards, notes, dead letters
    manifest.json                   a summary of it for people: settings, models, counts, shards
    dead_letters.jsonl              notes that could not be read or processed, and why; never their text
    .work/                          files of a running job: the notes of the shards in flight; removed when it ends

The parent reads notes, leaves out those that the ledger knows and puts each shard into `.work`, where a
worker writes the shard's tables. Only the parent moves them into the table folders, and records shard and
notes in one transaction. The next start removes files that no transaction recorded. So a job may be killed at
any time: no row is lost or doubled, and at most the shards in flight are done again. A job of few notes does its shards
in the parent process.

`job` runs in the parent process, `worker` in the worker processes. `step` defines what the work on a shard is;
`extract_step` and `predict_step` implement it. `shards` cuts notes into shards, `ledger` records what is done,
`engines` chooses where workers run.
"""
