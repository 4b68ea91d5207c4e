"""The one door for what a node says: what does not fit its closed schema goes no further.

`read` has the two functions that the plugins call. `probe` and `results` are the schemas, made of the types
in `words`; `texts` cleans what they hold; `action` runs a module behind the door, `fetch` brings a file.
"""
