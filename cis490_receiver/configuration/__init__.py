"""Configuration of either end: one loader and one explanation, for the two tables of keys.

A table is a frozen dataclass, each field of which is a key: `cis490_receiver.config` has the receiver's,
`cis490_receiver.client.config` the lab host's. A new key is one line in one of them.

===========  ====================================================================================
module       does
===========  ====================================================================================
keys         what a key is, and the kinds of value that keys may hold
loader       TOML file and environment to a table's object, and where each value came from
token        a bearer token in a file of its own
explain      the command ``config``: what is in force, what each key means and may be
===========  ====================================================================================
"""
