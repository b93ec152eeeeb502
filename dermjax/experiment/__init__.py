"""One run: its data set, networks, pretraining, fine-tuning, evaluation and linear probe."""
