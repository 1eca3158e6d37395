"""The bad night: what channels took, lost, doubled and falsified in a day, reconciled until only people's questions are left."""
