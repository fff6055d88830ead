"""Statements of the jobs. Where a job may change only from some states, the first SET takes the write lock and the
state is read after it, so that of two who try only one succeeds. `$beat` is the time by the graph's own clock
(`kg.graph.clock`): the hosts of workers need not agree on theirs, and may set them."""

from __future__ import annotations

__all__ = [
    "JOB",
    "JOBS",
    "JOBS_ACTIVE",
    "JOBS_OPEN",
    "JOB_BEAT",
    "JOB_CLAIM",
    "JOB_CREATE",
    "JOB_MOVE",
    "JOB_PROGRESS",
    "JOB_REQUEUE",
    "JOB_SET",
]

# One row: j, the properties of the job; none where there is no such id.
JOB = "MATCH (j:Job {id: $id}) RETURN properties(j) AS j"

# The latest $limit jobs, newest first: j.
JOBS = "MATCH (j:Job) RETURN properties(j) AS j ORDER BY j.created_at DESC, j.id LIMIT $limit"

# Jobs that a worker has yet to finish, oldest first: j.
JOBS_ACTIVE = """
MATCH (j:Job) WHERE j.state IN ['queued', 'running'] RETURN properties(j) AS j ORDER BY j.created_at, j.id
"""

# Jobs for $target that are in one of $states, oldest first: j.
JOBS_OPEN = """
MATCH (j:Job) WHERE j.kind = $kind AND j.target = $target AND j.state IN $states
RETURN properties(j) AS j ORDER BY j.created_at, j.id
"""

# A new queued job with the given properties: j.
JOB_CREATE = """
CREATE (j:Job {id: $id})
SET j += $values, j.state = 'queued', j.total = 0, j.done = 0, j.rejected = 0, j.busy_s = 0.0,
    j.created_at = $now, j.heartbeat = $beat
RETURN properties(j) AS j
"""

# Moves a job from one of the states $before to $after: j, if it was in one of them, and $worker at it ('' for whoever
# is). One that is paused or over, or whose worker has come to the end of a step ($whole), begins to count its tries
# anew.
JOB_MOVE = """
MATCH (j:Job {id: $id})
SET j.touched_at = $now
WITH j WHERE j.state IN $before AND ($worker = '' OR j.worker = $worker)
SET j.tries = CASE WHEN j.state IN ['queued', 'running'] AND NOT $whole THEN coalesce(j.tries, 0) ELSE 0 END,
    j.state = $after, j.heartbeat = $beat, j.error = $error,
    j.finished_at = CASE WHEN $after IN ['done', 'failed', 'cancelled'] THEN $now ELSE null END
RETURN properties(j) AS j
"""

# The worker $worker takes up a job that is queued, or that it was at before, or that the worker $dead was at: j, if it
# is one. `tries` counts how often that happened since the last chunk of work.
JOB_CLAIM = """
MATCH (j:Job {id: $id})
SET j.touched_at = $now
WITH j WHERE j.state = 'queued' OR (j.state = 'running' AND (j.worker = $worker OR j.worker = $dead))
SET j.state = 'running', j.worker = $worker, j.heartbeat = $beat,
    j.started_at = coalesce(j.started_at, $now), j.tries = coalesce(j.tries, 0) + 1, j.error = ''
RETURN properties(j) AS j
"""

# Queues a job again whose last sign of life is still $seen: j, if it is. Of two who find it without a worker one does.
JOB_REQUEUE = """
MATCH (j:Job {id: $id})
SET j.touched_at = $now
WITH j WHERE j.state IN ['queued', 'running'] AND j.heartbeat = $seen
SET j.state = 'queued', j.heartbeat = $beat
RETURN properties(j) AS j
"""

# Sign of life of the worker at it; nothing returned.
JOB_BEAT = "MATCH (j:Job {id: $id}) SET j.heartbeat = $beat"

# Sets properties that only the worker at the job writes: j.
JOB_SET = "MATCH (j:Job {id: $id}) SET j += $values RETURN properties(j) AS j"

# Counts one chunk of work: j.
JOB_PROGRESS = """
MATCH (j:Job {id: $id})
SET j.done = j.done + $done, j.rejected = j.rejected + $rejected, j.busy_s = j.busy_s + $seconds,
    j.cursor = $cursor, j.heartbeat = $beat, j.tries = 0
RETURN properties(j) AS j
"""
