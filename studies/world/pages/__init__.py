"""The pages of the sample world: plan, alt-texts, drawing."""
