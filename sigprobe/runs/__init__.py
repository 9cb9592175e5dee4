"""Run checks: one test, repeated tests of the agent, the points of a drive."""
