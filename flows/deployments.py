"""The flows that Prefect deployments name as entry points. Only this module imports Prefect at import time."""

from rubricator.flows.extract import extract
from rubricator.flows.predict import predict
from rubricator.flows.runs.deployed import deployed, end_with_server_of_runs
from rubricator.flows.train import train

end_with_server_of_runs()  # the first of our code that the process of a run imports

extract_flow = deployed(extract, __name__)
train_flow = deployed(train, __name__)
predict_flow = deployed(predict, __name__)
