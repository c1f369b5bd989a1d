"""Lets a test drive a client step by step.

A step is one line on standard input: the name of one of the client's methods, and its arguments,
separated by blanks. When it is done the line "done STEP" follows whatever the step has printed. A
step that fails ends the program.
"""

import sys


def run(client):
    for line in sys.stdin:
        name, *arguments = line.split()
        getattr(client, name)(*arguments)
        print("done", line.strip(), flush=True)
