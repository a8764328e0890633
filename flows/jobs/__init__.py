"""Jobs over any number of notes, cut into shards, done by worker processes, and safe against kill -9.

A job's folder (`--out`) holds

    sections/part-00000.parquet …   each table is a folder of parquet files, one a shard
    composed_notes/                 such a table of NOTES_SCHEMA, where the reader put the text of notes together
                                    (FHIR compositions): offsets point into it, and it is nowhere else
    ledger.sqlite                   the truth about what is done: shards, notes, dead letters
    manifest.json                   the same for people: settings, models, counts, shards
    dead_letters.jsonl              notes that could not be read or worked on, and why; never their text
    .work/                          scratch of a running job: the notes of the shards in flight; gone when it ends

The parent reads notes, leaves out those that the ledger knows and puts each shard into `.work`, where a
worker writes the shard's tables. Only the parent moves them into the table folders, and records shard and
notes in one transaction. The next start removes files that no transaction tells of. So a job may die
anywhere: no row is lost or doubled, and at most the shards in flight are done again.

`job` is the parent's side, `worker` the workers'. `step` says what the work on a shard is; `extract_step` and
`predict_step` are such work. `shards` cuts notes into shards, `ledger` keeps what is done, `engines` chooses where
workers run.
"""
