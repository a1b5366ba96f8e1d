"""What a person asks of a model: what it copied, what its noise controls, and what drives a picture's class."""
