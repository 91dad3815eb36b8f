"""The intakes that the receiver is measured against."""
