"""The planner: a configuration and facts about the host become a list of steps."""
