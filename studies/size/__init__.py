"""Studies of training: many short runs that differ in what is asked, measured image by image, resumable run by run."""
