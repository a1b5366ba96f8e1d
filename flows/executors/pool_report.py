"""The form in which the process of a pool's job reports to the Prefect server: one artifact, and the run's log.

The artifact's data: host and home of the worker; beat (grows while the process lives); lines (how many of the command
are in the log); waits; meets (where a training's other machines come to); gpus (null before the command begins);
progress; outcome (text of an Outcome; null before the end).
"""

FLOW = "genai-job"  # the name of the flow
ARTIFACT = "genai-job"
FLOW_LOGGER = "prefect.flow_runs"
LOGGER = "stage"  # of the command's lines; the rest of the log is the worker's own
BEAT_S = 10.0
SERVER_AWAY_S = 120.0  # for which both sides try again
