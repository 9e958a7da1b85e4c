"""An adapter fitted on the job's own links."""
