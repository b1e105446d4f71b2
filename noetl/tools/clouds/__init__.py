"""Secret services of clouds, asked over their REST APIs."""
