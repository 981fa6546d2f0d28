"""`kerasrt recipe`: shows a recipe, makes one without building, or holds one against a model."""
