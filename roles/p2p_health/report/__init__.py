"""The health report: from what each node says of itself to the truth about the cluster."""
