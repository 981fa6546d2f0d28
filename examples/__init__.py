"""Reference models, as Keras code that a user would write, with the data and the scripts that trained them."""
