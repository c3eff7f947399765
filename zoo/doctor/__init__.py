"""What a report of an error has to say of the machine: a row for each thing that could be found out, and why not."""
