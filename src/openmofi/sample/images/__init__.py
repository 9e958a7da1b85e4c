"""Where the images of the sample world come from: packages of icons, emoji, flags, logos."""
