"""Eight spoken commands, recognised by convolutions along frequency alone."""
