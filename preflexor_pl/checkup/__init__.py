"""What the doctor looks at: the machine, a config, a run, a teacher. Nothing is changed."""
