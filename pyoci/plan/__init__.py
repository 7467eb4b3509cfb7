"""From the Config and facts about the host to the list of steps."""
