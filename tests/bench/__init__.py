"""How long each verb takes, beside the peers."""
