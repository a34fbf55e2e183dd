"""What a cluster costs: jobs that do nothing, through the real queue, executor and store."""
