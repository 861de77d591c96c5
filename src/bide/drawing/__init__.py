"""A pipeline as a picture: `figure` says what there is to see, `mermaid` and `svg` write it down."""
