"""The web pages: what people and programs can do with them."""
