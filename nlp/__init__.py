"""Text in, labelled examples out: readers, sections, sentences, weak labels. No torch, Prefect or MLflow."""
