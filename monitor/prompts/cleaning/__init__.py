"""What hides the words of a prompt from a reader by machine, and how it is removed.

`inspection.py` finds the few prompts that need it, in compiled code. For those, `folding.py`
replaces characters that only look like letters and drops invisible ones, with the tables of
`looks.py`; and `decoding.py` decodes base64, hexadecimal and other escaped text.
"""
