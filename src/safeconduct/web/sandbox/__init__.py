"""The sandbox provider: a stand-in for a lab's API, for development and tests. Not a model, and says so in every answer."""
